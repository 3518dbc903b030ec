{{/* Names are fixed: the definition and the webhook configurations exist once in a cluster, and so does this release. */}}

{{- define "sidecarset.selector" -}}
app.kubernetes.io/name: sidecarset
app.kubernetes.io/component: webhook
{{- end }}

{{- define "sidecarset.controllerSelector" -}}
app.kubernetes.io/name: sidecarset
app.kubernetes.io/component: controller
{{- end }}

{{/* Labels of every object; the argument is a dict of root and component (may be empty). */}}
{{- define "sidecarset.labels" -}}
app.kubernetes.io/name: sidecarset
app.kubernetes.io/part-of: sidecarset
{{- with .component }}
app.kubernetes.io/component: {{ . }}
{{- end }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- with .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "sidecarset.image" -}}
{{- $image := .Values.image -}}
{{- if $image.digest -}}
{{ $image.repository }}@{{ $image.digest }}
{{- else -}}
{{ $image.repository }}:{{ $image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "sidecarset.revisionNamespace" -}}
{{ .Values.revisionNamespace | default .Release.Namespace }}
{{- end }}

{{/* What every webhook of ours has in common: how it is called. The argument is a dict of root and path. */}}
{{- define "sidecarset.clientConfig" -}}
{{- $certificates := .root.Values.certificates -}}
{{- if and (eq $certificates.mode "secret") $certificates.caBundle }}
caBundle: {{ $certificates.caBundle | b64enc }}
{{- end }}
service:
  namespace: {{ .root.Release.Namespace }}
  name: sidecarset-webhook
  port: 443
  path: {{ .path }}
{{- end }}

{{/* Who tells cert-manager's CA injector where the CA is. */}}
{{- define "sidecarset.injectCA" -}}
{{- if eq .Values.certificates.mode "certManager" -}}
cert-manager.io/inject-ca-from: {{ .Release.Namespace }}/sidecarset-serving-cert
{{- end -}}
{{- end }}

{{/* RBAC: who gets the rights. */}}
{{- define "sidecarset.subjects" -}}
- kind: ServiceAccount
  name: sidecarset-webhook
  namespace: {{ .Release.Namespace }}
{{- end }}

{{- define "sidecarset.controllerSubjects" -}}
- kind: ServiceAccount
  name: sidecarset-controller
  namespace: {{ .Release.Namespace }}
{{- end }}

{{/* ADDRESS:PORT; an IPv6 address stands in brackets. */}}
{{- define "sidecarset.address" -}}
{{- $address := .values.listenAddress -}}
{{- if contains ":" $address }}[{{ $address }}]{{ else }}{{ $address }}{{ end }}:{{ .port }}
{{- end }}

{{/* Flags for the values that differ from the program's own defaults. */}}
{{- define "sidecarset.args" -}}
{{- with .revisionNamespace }}
- --revision-namespace={{ . }}
{{- end }}
{{- if .featureGates }}
{{- $gates := list }}
{{- range $gate, $on := .featureGates }}{{ $gates = append $gates (printf "%s=%t" $gate $on) }}{{ end }}
- --feature-gates={{ join "," $gates }}
{{- end }}
{{- if .strictValidation }}
- --strict-validation
{{- end }}
{{- if not .allowPrivileged }}
- --allow-privileged=false
{{- end }}
{{- if ne (int .maxInFlight) 1024 }}
- --max-in-flight={{ int .maxInFlight }}
{{- end }}
{{- if ne .maxBodyBytesInFlight "64Mi" }}
- --max-body-bytes-in-flight={{ .maxBodyBytesInFlight }}
{{- end }}
{{- if ne (int .workers) 2 }}
- --workers={{ int .workers }}
{{- end }}
{{- if ne .connectionAge "5m" }}
- --connection-age={{ .connectionAge }}
{{- end }}
{{- if ne .logLevel "info" }}
- --log-level={{ .logLevel }}
{{- end }}
{{- range .extraArgs }}
- {{ . | quote }}
{{- end }}
{{- end }}
