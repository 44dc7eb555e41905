{{/* Names and labels. */}}

{{- define "pkcs11-issuer.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "pkcs11-issuer.fullname" -}}
{{- $name := include "pkcs11-issuer.name" . }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "pkcs11-issuer.serviceAccountName" -}}
{{- default (ternary (include "pkcs11-issuer.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{/* Labels that select the pods; they can never change. */}}
{{- define "pkcs11-issuer.selectorLabels" -}}
app.kubernetes.io/name: {{ include "pkcs11-issuer.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "pkcs11-issuer.labels" -}}
{{- $own := dict
  "app.kubernetes.io/name" (include "pkcs11-issuer.name" .)
  "app.kubernetes.io/instance" .Release.Name
  "app.kubernetes.io/version" .Chart.AppVersion
  "app.kubernetes.io/managed-by" .Release.Service
  "helm.sh/chart" (printf "%s-%s" .Chart.Name (.Chart.Version | replace "+" "_")) }}
{{- toYaml (mergeOverwrite (deepCopy .Values.commonLabels) $own) }}
{{- end }}

{{/* An image; a digest takes precedence over a tag. */}}
{{- define "pkcs11-issuer.image" -}}
{{- .repository }}{{ with .tag }}:{{ . }}{{ end }}{{ with .digest }}@{{ . }}{{ end }}
{{- end }}
