{{/* The pod, the same in a Deployment and a DaemonSet. */}}

{{/* The part of the operator's configuration that the controller reads. */}}
{{- define "pkcs11-issuer.config" -}}
{{- $modules := dict }}
{{- range $name, $module := .Values.modules }}
{{- if $module.socket }}
{{- $_ := set $modules $name (dict "socket" $module.socket) }}
{{- else if $module.sidecar }}
{{- $_ := set $modules $name (dict "socket" (printf "/run/hsm/%s/worker.sock" $name)) }}
{{- else }}
{{- $_ := set $modules $name (dict "path" $module.path "env" ($module.env | default dict)) }}
{{- end }}
{{- end }}
{{- $config := dict "modules" $modules "tokens" .Values.tokens }}
{{- with include "pkcs11-issuer.audit" .Values.audit | fromYaml }}
{{- $_ := set $config "audit" . }}
{{- end }}
{{- toYaml $config }}
{{- end }}

{{/* What differs from the defaults of the issuance log, as YAML. */}}
{{- define "pkcs11-issuer.audit" -}}
{{- $audit := dict }}
{{- with .cluster }}
{{- $_ := set $audit "cluster" . }}
{{- end }}
{{- with .checkpoints }}
{{- $_ := set $audit "checkpoints" . }}
{{- end }}
{{- if ne .onFailure "Wait" }}
{{- $_ := set $audit "onFailure" .onFailure }}
{{- end }}
{{- if .file.path }}
{{- $file := dict "path" .file.path "fsync" .file.fsync }}
{{- with .file.rotateMebibytes }}
{{- $_ := set $file "rotateMebibytes" (int .) }}
{{- end }}
{{- with .file.rotateAge }}
{{- $_ := set $file "rotateAge" . }}
{{- end }}
{{- $_ := set $audit "sinks" (dict "stdout" .stdout "file" $file) }}
{{- end }}
{{- toYaml $audit }}
{{- end }}

{{- define "pkcs11-issuer.args" -}}
- run
- --config=/etc/pkcs11-issuer/config.yaml
- --cluster-resource-namespace={{ .Release.Namespace }}
{{- if ne .Values.listenAddress "::" }}
- --health-address={{ .Values.listenAddress }}:8081
- --metrics-address={{ .Values.listenAddress }}:9402
{{- end }}
{{- with .Values.class }}
- --class={{ . }}
{{- end }}
- --enforce-approval={{ .Values.enforceApproval }}
- --certificate-requests={{ .Values.certificateRequests }}
- --certificate-signing-requests={{ .Values.certificateSigningRequests }}
- --pod-certificate-requests={{ .Values.podCertificateRequests }}
- --cluster-trust-bundles={{ .Values.clusterTrustBundles }}
{{- if and .Values.crl.enabled .Values.crl.onDelete }}
- --revoke-deleted-certificates
{{- end }}
{{- if .Values.trustConfigMaps }}
- --trust-config-maps
{{- end }}
{{- if .Values.reissue }}
- --reissue
{{- end }}
{{- if not .Values.events }}
- --events=false
{{- end }}
{{- with .Values.metrics.issuers }}
- --issuer-metrics={{ int . }}
{{- end }}
{{- with .Values.undecidedAfter }}
- --undecided-after={{ . }}
{{- end }}
- --drain-timeout={{ div (mul 2 (int .Values.terminationGracePeriodSeconds)) 3 }}s
- --concurrency={{ int .Values.concurrency }}
{{- with .Values.probeInterval }}
- --probe-interval={{ . }}
{{- end }}
{{- with .Values.leaseDuration }}
- --lease-duration={{ . }}
{{- end }}
{{- if .Values.crl.enabled }}
- {{ printf "--crl-address=%s:8082" (ternary "[::]" .Values.listenAddress (eq .Values.listenAddress "::")) | quote }}
{{- end }}
{{- with .Values.debugPort }}
- --debug-address=127.0.0.1:{{ int . }}
{{- end }}
{{- with .Values.traces.endpoint }}
- {{ printf "--otlp-endpoint=%s" . | quote }}
{{- end }}
- --log-format={{ .Values.log.format }}
- {{ printf "--log-level=%s" .Values.log.level | quote }}
{{- with .Values.extraArgs }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Security context, as YAML, of the container that loads these modules: `root`, `modules`. */}}
{{- define "pkcs11-issuer.securityContext" -}}
{{- $context := deepCopy .root.Values.containerSecurityContext }}
{{- range .modules }}
{{- if .privileged }}
{{- $_ := set $context "privileged" true }}
{{- /* The API server refuses a privileged container with allowPrivilegeEscalation: false. */}}
{{- $_ := unset $context "allowPrivilegeEscalation" }}
{{- end }}
{{- end }}
{{- toYaml $context }}
{{- end }}

{{/* Resources, as YAML, of the container that loads these modules: `resources`, `modules`. */}}
{{- define "pkcs11-issuer.resources" -}}
{{- $resources := deepCopy .resources }}
{{- range .modules }}
{{- range $device, $count := .devices }}
{{- /* Extended resources are set as limits; Kubernetes derives equal requests. */}}
{{- $limits := get $resources "limits" | default dict }}
{{- $_ := set $limits $device (add (get $limits $device | default 0) $count | int) }}
{{- $_ := set $resources "limits" $limits }}
{{- end }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* Mounts of host paths and the module's other mounts, in the container that loads the module: `name`, `module`. */}}
{{- define "pkcs11-issuer.moduleMounts" -}}
{{- range $index, $path := .module.hostPaths }}
- name: hsm-{{ $.name }}-{{ $index }}
  mountPath: {{ default $path.hostPath $path.mountPath }}
  readOnly: {{ $path.readOnly }}
{{- end }}
{{- with .module.volumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "pkcs11-issuer.pod" -}}
{{- $own := dict }}
{{- range $name, $module := .Values.modules }}
{{- if not $module.sidecar }}
{{- $_ := set $own $name $module }}
{{- end }}
{{- end }}
metadata:
  labels:
    {{- toYaml (mergeOverwrite (deepCopy .Values.commonLabels) .Values.podLabels (include "pkcs11-issuer.selectorLabels" . | fromYaml)) | nindent 4 }}
  annotations:
    kubectl.kubernetes.io/default-container: pkcs11-issuer
    {{- with .Values.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "pkcs11-issuer.serviceAccountName" . }}
  # Mounted below, only in the controller's container: no library in a sidecar gets the pod's identity.
  automountServiceAccountToken: false
  enableServiceLinks: false
  terminationGracePeriodSeconds: {{ int .Values.terminationGracePeriodSeconds }}
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- with .Values.runtimeClassName }}
  runtimeClassName: {{ . }}
  {{- end }}
  {{- $context := deepCopy .Values.podSecurityContext }}
  {{- if .Values.openshift }}
  {{- /* The SCC restricted-v2 sets user and fsGroup to values of the namespace, and refuses all others. */}}
  {{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" }}
  {{- end }}
  securityContext:
    {{- toYaml $context | nindent 4 }}
  nodeSelector:
    {{- toYaml (merge (deepCopy .Values.nodeSelector) (dict "kubernetes.io/os" "linux")) | nindent 4 }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- if and (eq .Values.kind "Deployment") .Values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- $selector := dict "labelSelector" (dict "matchLabels" (include "pkcs11-issuer.selectorLabels" . | fromYaml)) }}
    {{- range .Values.topologySpreadConstraints }}
    - {{- toYaml (merge (deepCopy .) (deepCopy $selector)) | nindent 6 }}
    {{- end }}
  {{- end }}
  {{- $init := include "pkcs11-issuer.initContainers" . | trim }}
  {{- if $init }}
  initContainers:
    {{- $init | nindent 4 }}
  {{- end }}
  containers:
    - name: pkcs11-issuer
      image: {{ include "pkcs11-issuer.image" (merge (dict "tag" (default (ternary "" .Chart.AppVersion (ne "" .Values.image.digest)) .Values.image.tag)) .Values.image) | quote }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args:
        {{- include "pkcs11-issuer.args" . | nindent 8 }}
      env:
        - name: POD_NAME
          valueFrom: {fieldRef: {fieldPath: metadata.name}}
        - name: POD_UID
          valueFrom: {fieldRef: {fieldPath: metadata.uid}}
        {{- with .Values.extraEnv }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      ports:
        - {name: health, containerPort: 8081, protocol: TCP}
        - {name: metrics, containerPort: 9402, protocol: TCP}
        {{- if .Values.crl.enabled }}
        - {name: crl, containerPort: 8082, protocol: TCP}
        {{- end }}
      livenessProbe:
        httpGet: {path: /livez, port: health}
        {{- toYaml .Values.livenessProbe | nindent 8 }}
      readinessProbe:
        httpGet: {path: /readyz, port: health}
        {{- toYaml .Values.readinessProbe | nindent 8 }}
      resources:
        {{- include "pkcs11-issuer.resources" (dict "resources" .Values.resources "modules" $own) | nindent 8 }}
      securityContext:
        {{- include "pkcs11-issuer.securityContext" (dict "root" . "modules" $own) | nindent 8 }}
      volumeMounts:
        - {name: config, mountPath: /etc/pkcs11-issuer, readOnly: true}
        - {name: identity, mountPath: /var/run/secrets/kubernetes.io/serviceaccount, readOnly: true}
        {{- range $name, $module := .Values.modules }}
        {{- if $module.copy }}
        - {name: hsm-{{ $name }}, mountPath: /opt/hsm/{{ $name }}, readOnly: true}
        {{- else if $module.sidecar }}
        - {name: hsm-{{ $name }}, mountPath: /run/hsm/{{ $name }}, readOnly: true}
        {{- end }}
        {{- if not $module.sidecar }}
        {{- with include "pkcs11-issuer.moduleMounts" (dict "name" $name "module" $module) | trim }}
        {{- . | nindent 8 }}
        {{- end }}
        {{- end }}
        {{- end }}
        {{- with .Values.audit.file.path }}
        - {name: issuance-log, mountPath: {{ dir . }}}
        {{- end }}
        {{- with .Values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- with .Values.extraContainers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  volumes:
    - name: config
      configMap: {name: {{ include "pkcs11-issuer.fullname" . }}}
    # The same volume as Kubernetes mounts by default.
    - name: identity
      projected:
        sources:
          - serviceAccountToken: {path: token, expirationSeconds: 3607}
          - configMap: {name: kube-root-ca.crt, items: [{key: ca.crt, path: ca.crt}]}
          - downwardAPI: {items: [{path: namespace, fieldRef: {fieldPath: metadata.namespace}}]}
    {{- range $name, $module := .Values.modules }}
    {{- if or $module.copy $module.sidecar }}
    - {name: hsm-{{ $name }}, emptyDir: {}}
    {{- end }}
    {{- range $index, $path := $module.hostPaths }}
    - name: hsm-{{ $name }}-{{ $index }}
      hostPath: {path: {{ $path.hostPath }}, type: {{ default "" $path.type | quote }}}
    {{- end }}
    {{- end }}
    {{- if .Values.audit.file.path }}
    - name: issuance-log
      {{- toYaml .Values.audit.volume | nindent 6 }}
    {{- end }}
    {{- with .Values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end }}

{{/* Copies of libraries, and the sidecars, which start before the controller and end after it. */}}
{{- define "pkcs11-issuer.initContainers" -}}
{{- with .Values.extraInitContainers }}
{{ toYaml . }}
{{- end }}
{{- range $name, $module := .Values.modules }}
{{- with $module.copy }}
- name: copy-{{ $name }}
  image: {{ include "pkcs11-issuer.image" .image | quote }}
  imagePullPolicy: {{ default "IfNotPresent" .image.pullPolicy }}
  # Links are followed, because their targets may be outside the folder. No shell is needed.
  command: [cp, -R, -L, {{ printf "%s/." (trimSuffix "/" .from) | quote }}, /opt/hsm/{{ $name }}/]
  resources:
    {{- toYaml (default $.Values.resources .resources) | nindent 4 }}
  securityContext:
    {{- toYaml $.Values.containerSecurityContext | nindent 4 }}
  volumeMounts:
    - {name: hsm-{{ $name }}, mountPath: /opt/hsm/{{ $name }}}
{{- end }}
{{- with $module.sidecar }}
- name: hsm-{{ $name }}
  image: {{ include "pkcs11-issuer.image" .image | quote }}
  imagePullPolicy: {{ default "IfNotPresent" .image.pullPolicy }}
  restartPolicy: Always
  command:
    {{- toYaml (default (list "pkcs11-hsm-worker") .command) | nindent 4 }}
  args:
    - listen
    - --module={{ $module.path }}
    - --socket=/run/hsm/{{ $name }}/worker.sock
    # Longer than the controller's drain time, and shorter than the pod's grace period.
    - --drain-timeout={{ div (mul 5 (int $.Values.terminationGracePeriodSeconds)) 6 }}
    - --log-format={{ $.Values.log.format }}
  {{- with $module.env }}
  env:
    {{- range $variable, $value := . }}
    - {name: {{ $variable }}, value: {{ $value | quote }}}
    {{- end }}
  {{- end }}
  resources:
    {{- include "pkcs11-issuer.resources" (dict "resources" (default $.Values.resources .resources) "modules" (list $module)) | nindent 4 }}
  securityContext:
    {{- include "pkcs11-issuer.securityContext" (dict "root" $ "modules" (list $module)) | nindent 4 }}
  volumeMounts:
    - {name: hsm-{{ $name }}, mountPath: /run/hsm/{{ $name }}}
    {{- with include "pkcs11-issuer.moduleMounts" (dict "name" $name "module" $module) | trim }}
    {{- . | nindent 4 }}
    {{- end }}
{{- end }}
{{- end }}
{{- end }}
