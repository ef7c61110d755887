#!/bin/bash
# Makes the root file system of a kind node from Debian packages and the programs given, for
# machines that reach no registry. The steps are those of kind's own base image and node build.
#
# node-image.sh BASE KIND PROGRAMS IMAGES VERSION OUT
#   BASE      tar file of the bare Debian system; made if it is not there (two minutes)
#   KIND      kind's source, whose images/base/files are put over it
#   PROGRAMS  folder with kubelet, kubeadm, kubectl
#   IMAGES    folder with image archives to preload
#   VERSION   of Kubernetes, as vX.Y.Z
#   OUT       tar file to write
set -euo pipefail

base=$1 kind=$2 programs=$3 images=$4 version=$5 out=$6
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
PATH=$PATH:/usr/sbin:/sbin
packages=systemd,systemd-sysv,dbus,conntrack,iptables,nftables,iproute2,ethtool,util-linux,mount,kmod
packages+=,libseccomp2,bash,ca-certificates,curl,jq,procps,containerd,runc,containernetworking-plugins
packages+=,iputils-ping,socat,hostname

# The mirror that apt itself uses here.
mirror() {
    grep -rhoE '^(URIs:|deb) +[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d \
        2>/dev/null | awk 'NR == 1 { print $2 }'
}

root=$(mktemp -d "$(dirname "$out")/node-root.XXXXXX")
importer=
finish() {
    [ -z "$importer" ] || kill "$importer" 2>/dev/null || true
    umount "$root/images" "$root/proc" 2>/dev/null || true
    rm -rf --one-file-system "$root"
}
trap finish EXIT

if [ ! -e "$base" ]; then
    debootstrap --variant=minbase --include="$packages" bookworm "$root" "$(mirror)" >"$base.log"
    rm -rf "$root"/var/cache/apt/archives/*.deb "$root"/var/lib/apt/lists/*
    rm -rf "$root"/usr/share/{doc,man,locale}/*
    tar -C "$root" -cf "$base.part" .
    mv "$base.part" "$base"
else
    tar -C "$root" -xf "$base"
fi

echo "node-image: the files of kind"
cp -r --no-preserve=mode "$kind/images/base/files/." "$root/"
chmod -R u+w "$root/kind" "$root/etc/systemd"
rm -rf "$root/LICENSES"
chmod 755 "$root"/usr/local/bin/* "$root/kind" "$root/kind/bin" "$root"/kind/bin/*
units=$root/lib/systemd/system
rm -f "$units"/multi-user.target.wants/* "$root"/etc/systemd/system/*.wants/*
rm -f "$units"/local-fs.target.wants/* "$units"/basic.target.wants/*
rm -f "$units"/sockets.target.wants/*{udev,initctl}*
rm -f "$units"/sysinit.target.wants/systemd-tmpfiles-setup.service
grep -q ReadKMsg=no "$root/etc/systemd/journald.conf" \
    || echo ReadKMsg=no >>"$root/etc/systemd/journald.conf"
ln -sf /lib/systemd/systemd "$root/sbin/init"
for program in containerd ctr containerd-shim-runc-v2; do
    ln -sf "/usr/bin/$program" "$root/usr/local/bin/$program"
done
ln -sf /usr/sbin/runc "$root/usr/local/sbin/runc"
# kind's own unit is in /etc/systemd/system.
rm -f "$units/containerd.service"
mkdir -p "$root/opt/cni/bin" "$root/etc/kubernetes/manifests" "$root/kind/manifests"
cp "$root"/usr/lib/cni/{host-local,loopback,ptp,portmap,bridge} "$root/opt/cni/bin/"
chroot "$root" systemctl --quiet enable kubelet.service containerd.service undo-mount-hacks.service
chroot "$root" systemctl --quiet mask systemd-binfmt.service
hook='.hooks.createContainer |= . + [{"path": "/kind/bin/mount-product-files.sh"}]'
chroot "$root" ctr oci spec | jq "$hook | del(.process.rlimits)" >"$root/etc/containerd/cri-base.json"
# Debian's containerd is 1.6: one key has an older name, and /opt/cni must be said. The last line
# lets pods start where root may not lower out-of-memory scores.
sed -i -e 's/tolerate_missing_hugepages_controller/tolerate_missing_hugetlb_controller/' \
    -e 's/restrict_oom_score_adj = false/restrict_oom_score_adj = true/' \
    "$root/etc/containerd/config.toml"
grep -q bin_dir "$root/etc/containerd/config.toml" || cat >>"$root/etc/containerd/config.toml" <<'TOML'

[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/opt/cni/bin"
  conf_dir = "/etc/cni/net.d"
TOML

echo "node-image: Kubernetes $version"
cp "$programs"/{kubelet,kubeadm,kubectl} "$root/usr/bin/"
printf '%s' "$version" >"$root/kind/version"
# The storage manifest is a Go constant with the names of two images left open.
awk '/^const defaultStorageManifest = `/ { on = 1; next } on && /^`/ { exit } on' \
    "$kind/pkg/build/nodeimage/const_storage.go" \
    | sed -e 's#` + storageProvisionerImage + `#docker.io/rancher/local-path-provisioner:v0.0.30#' \
        -e 's#` + storageHelperImage + `#docker.io/library/busybox:1.35#' \
        >"$root/kind/manifests/default-storage.yaml"
cp "$here/network.yaml" "$root/kind/manifests/default-cni.yaml"

echo "node-image: preloaded images"
rm -rf "$root/var/lib/containerd"
mkdir -p "$root/var/lib/containerd" "$root/run/containerd" "$root/images"
mount --bind "$images" "$root/images"
mount -t proc proc "$root/proc"
printf 'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\n' >"$root/tmp/import.toml"
chroot "$root" /usr/bin/containerd -c /tmp/import.toml >"$out.containerd.log" 2>&1 &
importer=$!
for _ in $(seq 100); do
    chroot "$root" ctr version >/dev/null 2>&1 && break
    sleep 0.2
done
for archive in "$images"/*.tar; do
    chroot "$root" ctr -n k8s.io images import --no-unpack "/images/$(basename "$archive")"
done
kill "$importer"
wait "$importer" 2>/dev/null || true
importer=
umount "$root/images" "$root/proc"
rmdir "$root/images"
rm -rf "$root"/run/* "$root"/tmp/*

tar -C "$root" -cf "$out.part" .
mv "$out.part" "$out"
