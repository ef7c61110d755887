{{/* The name of everything of a release. */}}
{{- define "cairn.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "cairn.operator" -}}
{{- printf "%s-operator" (include "cairn.fullname" .) -}}
{{- end -}}

{{/* Objects outside a namespace: two releases of one name in two namespaces must not meet. */}}
{{- define "cairn.clusterwide" -}}
{{- printf "%s-%s-operator" .Release.Namespace (include "cairn.fullname" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "cairn.account" -}}
{{- default (include "cairn.operator" .) .Values.serviceAccount.name -}}
{{- end -}}

{{- define "cairn.selector" -}}
app.kubernetes.io/name: cairn-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "cairn.labels" -}}
{{ include "cairn.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: cairn
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end -}}

{{- define "cairn.image" -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" .Values.image.repository .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{/* What the operator may do with objects in namespaces. No `*`: each verb is used. */}}
{{- define "cairn.rules" -}}
- apiGroups: [cairn.dev]
  resources: [clusters, keyspaces, backups, restores]
  verbs: [get, list, watch]
- apiGroups: [cairn.dev]
  resources: [sparepools]
  verbs: [get, list, watch, patch]
- apiGroups: [cairn.dev]
  resources: [keyspaces/scale]
  verbs: [patch]
- apiGroups: [cairn.dev]
  resources: [groups]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [cairn.dev]
  resources:
  - clusters/status
  - keyspaces/status
  - groups/status
  - backups/status
  - restores/status
  - sparepools/status
  verbs: [get, patch]
- apiGroups: [cairn.dev]
  resources:
  - clusters/finalizers
  - keyspaces/finalizers
  - groups/finalizers
  - backups/finalizers
  - restores/finalizers
  - sparepools/finalizers
  verbs: [update]
- apiGroups: [""]
  resources: [configmaps, secrets, serviceaccounts, services]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, patch, delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [get, list, watch, patch]
- apiGroups: [apps]
  resources: [statefulsets, deployments]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [cert-manager.io]
  resources: [certificates]
  verbs: [get, create, patch]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: ["", events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
