{{- define "longtail.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 45 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 45 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "longtail.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "longtail.labels" -}}
{{ include "longtail.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{/* The pods' security context: any user but root; writable volumes belong to group 0. */}}
{{- define "longtail.podSecurity" -}}
{{- $defaults := dict "runAsNonRoot" true "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- toYaml (merge (deepCopy .Values.podSecurityContext) $defaults) -}}
{{- end -}}

{{- define "longtail.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end -}}

{{/* What every pod of the chart says of itself. */}}
{{- define "longtail.pod" -}}
serviceAccountName: {{ include "longtail.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
securityContext:
  {{- include "longtail.podSecurity" . | nindent 2 }}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Settings as environment: plain ones, then secrets by reference. Another user may have no home. */}}
{{- define "longtail.environment" -}}
{{- $secrets := dict "redisUrl" "REDIS_URL" "redisPassword" "REDIS_PASSWORD" "adminToken" "ADMIN_TOKEN" "rerankUrl" "RERANK_URL" "rerankApiKey" "RERANK_API_KEY" -}}
{{- $own := list "HOST" "PORT" "WORKERS" "STORE_DIR" "BUNDLES_DIR" "BUNDLES_CACHE_DIR" "BUNDLES_CACHE_BYTES" -}}
{{- range $name, $value := .Values.settings }}
{{- $variable := upper $name }}
{{- if has $variable (values $secrets) }}
{{- fail (printf "settings.%s is a secret: name a Secret in `secrets` instead" $name) }}
{{- end }}
{{- if has $variable $own }}
{{- fail (printf "settings.%s is set by the chart" $name) }}
{{- end }}
- name: LONGTAIL_{{ $variable }}
  value: {{ kindIs "string" $value | ternary $value (toJson $value) | quote }}
{{- end }}
{{- range $name, $variable := $secrets }}
{{- with get $.Values.secrets $name }}
- name: LONGTAIL_{{ $variable }}
  valueFrom:
    secretKeyRef:
      name: {{ .name }}
      key: {{ .key }}
{{- end }}
{{- end }}
- name: HOME
  value: /tmp
{{- with .Values.bundles }}
- name: LONGTAIL_BUNDLES_DIR
  value: {{ .url | default "/var/lib/longtail/bundles" | quote }}
{{- if .url }}
- name: LONGTAIL_BUNDLES_CACHE_DIR
  value: /var/lib/longtail/bundles
- name: LONGTAIL_BUNDLES_CACHE_BYTES
  value: {{ int64 .cacheBytes | quote }}
{{- end }}
{{- end }}
- name: LONGTAIL_STORE_DIR
  value: /var/lib/longtail/store
{{- with .Values.environment }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Published versions; the cache of an object store may be a quarter above its limit. */}}
{{- define "longtail.bundlesVolume" -}}
name: bundles
{{- if .Values.bundles.url }}
emptyDir: {sizeLimit: {{ div (mul (int64 .Values.bundles.cacheBytes) 5) 4 | quote }}}
{{- else }}
persistentVolumeClaim: {claimName: {{ .Values.bundles.claim }}}
{{- end }}
{{- end -}}

{{- define "longtail.spaceVolumes" -}}
- name: store
  emptyDir: {sizeLimit: {{ .Values.space.store }}}
- name: temporary
  emptyDir: {sizeLimit: {{ .Values.space.temporary }}}
{{- end -}}

{{- define "longtail.spaceMounts" -}}
- name: store
  mountPath: /var/lib/longtail/store
- name: temporary
  mountPath: /tmp
{{- end -}}

{{/* A container of an offline command, without its name and arguments. */}}
{{- define "longtail.offlineContainer" -}}
image: {{ .Values.offline.image.repository }}:{{ .Values.offline.image.tag | default .Chart.AppVersion }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
command: [longtail]
env:
  - name: LONGTAIL_CACHE_DIR
    value: /builds/.cache
  {{- include "longtail.environment" . | trim | nindent 2 }}
resources:
  {{- toYaml .Values.offline.resources | nindent 2 }}
securityContext:
  {{- include "longtail.containerSecurity" . | nindent 2 }}
volumeMounts:
  - name: builds
    mountPath: /builds
  - name: bundles
    mountPath: /var/lib/longtail/bundles
  {{- include "longtail.spaceMounts" . | nindent 2 }}
{{- end -}}

{{- define "longtail.offlineVolumes" -}}
- name: builds
  persistentVolumeClaim: {claimName: {{ .Values.offline.claim }}}
- {{ include "longtail.bundlesVolume" . | nindent 2 | trim }}
{{ include "longtail.spaceVolumes" . }}
{{- end -}}

{{/* The spec of a Job that is there, without what its controller adds, which no manifest may say. */}}
{{- define "longtail.specOfJob" -}}
{{- $pod := .spec.template -}}
{{- $labels := omit $pod.metadata.labels "controller-uid" "job-name" "batch.kubernetes.io/controller-uid" "batch.kubernetes.io/job-name" -}}
{{- $metadata := set (omit $pod.metadata "creationTimestamp") "labels" $labels -}}
{{- $template := set (omit $pod "metadata") "metadata" $metadata -}}
{{- toYaml (set (omit .spec "selector") "template" $template) -}}
{{- end -}}
