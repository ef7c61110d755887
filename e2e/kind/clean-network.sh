#!/bin/bash
# Takes away what a stopped dockerd leaves in the host's network: its bridges, chains and rules.
# clean-network.sh POLICY: what FORWARD did before with packets that no rule names.
set -uo pipefail

bridges=$(ip -brief link | grep -oE '^(docker0|br-[0-9a-f]{12})' || true)
for bridge in $bridges; do
    ip link delete "$bridge"
done

ours='^-A (PREROUTING|OUTPUT|POSTROUTING|FORWARD) .*(DOCKER|docker0|br-[0-9a-f]{12})'
for table in filter nat; do
    iptables -t "$table" -S | grep -E "$ours" | sed 's/^-A/-D/' | while read -r rule; do
        # Word splitting is wanted: a rule is many arguments.
        # shellcheck disable=SC2086
        iptables -t "$table" $rule
    done
    chains=$(iptables -t "$table" -S | awk '/^-N DOCKER/ { print $2 }')
    for chain in $chains; do iptables -t "$table" -F "$chain"; done
    for chain in $chains; do iptables -t "$table" -X "$chain"; done
done
# dockerd sets the policy to DROP when it turns forwarding on.
iptables -P FORWARD "${1:-ACCEPT}"
