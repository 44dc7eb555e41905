{{/* Refuses contradictory combinations that a schema cannot express. Each message says what to do. */}}

{{- define "pkcs11-issuer.validate" -}}
{{- include "pkcs11-issuer.validateModules" . }}
{{- include "pkcs11-issuer.validateTokens" . }}
{{- include "pkcs11-issuer.validateSecrecy" . }}
{{- include "pkcs11-issuer.validateRollout" . }}
{{- include "pkcs11-issuer.validateRights" . }}
{{- with .Values.audit.checkpoints }}
{{- if not (and .token (or .key .keyId)) }}
{{- fail "audit.checkpoints: name the token and, by key (CKA_LABEL) or keyId (CKA_ID in hexadecimal), the key that signs checkpoints" }}
{{- end }}
{{- if not $.Values.audit.cluster }}
{{- fail "audit.checkpoints: the key is known by the cluster's name; set audit.cluster, too" }}
{{- end }}
{{- end }}
{{- if and .Values.audit.file.path (not .Values.audit.volume) }}
{{- fail "audit.file: the root file system is read-only; give audit.volume, such as a persistentVolumeClaim" }}
{{- end }}
{{- if not (or .Values.audit.file.path .Values.audit.stdout) }}
{{- fail "audit: the issuance log has no sink; set audit.stdout=true or audit.file.path" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled }}
{{- fail "metrics: choose serviceMonitor or podMonitor; with both every metric would be scraped twice" }}
{{- end }}
{{- if and .Values.metrics.serviceMonitor.enabled (not .Values.metrics.service) }}
{{- fail "metrics.serviceMonitor finds pods by their Service: set metrics.service=true, or use metrics.podMonitor" }}
{{- end }}
{{- end }}

{{- define "pkcs11-issuer.validateModules" -}}
{{- range $name, $module := .Values.modules }}
{{- $at := printf "modules.%s" $name }}
{{- if and $module.path $module.socket }}
{{- fail (printf "%s: give path, or the socket of a worker that you run yourself, not both" $at) }}
{{- end }}
{{- if not (or $module.path $module.socket) }}
{{- fail (printf "%s: give the path of the PKCS#11 library, or the socket of a worker that you run yourself" $at) }}
{{- end }}
{{- if $module.socket }}
{{- range $key := list "copy" "sidecar" "env" "devices" "hostPaths" "privileged" }}
{{- if get $module $key }}
{{- fail (printf "%s: %s is for a library that this chart loads; configure it where you run the worker behind the socket" $at $key) }}
{{- end }}
{{- end }}
{{- end }}
{{- if and $module.copy $module.sidecar }}
{{- fail (printf "%s: a sidecar has the library in its own image; remove copy or sidecar" $at) }}
{{- end }}
{{- if and $module.copy (not (hasPrefix (printf "/opt/hsm/%s/" $name) $module.path)) }}
{{- fail (printf "%s: the copied library is below /opt/hsm/%s/; let path begin with that" $at $name) }}
{{- end }}
{{- if and $module.hostPaths (eq $.Values.kind "Deployment") (not $.Values.nodeSelector) (not $.Values.affinity) }}
{{- fail (printf "%s: hostPaths are on some nodes only; set kind=DaemonSet and nodeSelector, or nodeSelector or affinity" $at) }}
{{- end }}
{{- end }}
{{- end }}

{{- define "pkcs11-issuer.validateTokens" -}}
{{- if not .Values.tokens }}
{{- fail "tokens: name at least one token, such as {issuing: {module: softhsm, label: issuing, pinSecretRef: {name: hsm-pin, key: pin}}}" }}
{{- end }}
{{- range $name, $token := .Values.tokens }}
{{- $at := printf "tokens.%s" $name }}
{{- if not (hasKey $.Values.modules $token.module) }}
{{- fail (printf "%s: module %s is not in modules, which has: %s" $at $token.module (keys $.Values.modules | sortAlpha | join ", " | default "nothing")) }}
{{- end }}
{{- if ne 1 (len (compact (list (ternary "1" "" (hasKey $token "label")) (ternary "1" "" (hasKey $token "serial")) (ternary "1" "" (hasKey $token "slotDescription")) (ternary "1" "" (hasKey $token "slotId"))))) }}
{{- fail (printf "%s: give label or serial, not both (as a last resort, slotDescription or slotId instead)" $at) }}
{{- end }}
{{- if hasKey $token "pin" }}
{{- fail (printf "%s: no PIN goes into values; put it into a Secret and name that by pinSecretRef: {name: …, key: …}" $at) }}
{{- end }}
{{- range $index, $grant := $token.grants }}
{{- if not (or $grant.keys $grant.keyIds) }}
{{- fail (printf "%s.grants[%d] names no key: give keys (globs on CKA_LABEL, [\"*\"] for all) or keyIds (CKA_ID in hexadecimal)" $at $index) }}
{{- end }}
{{- end }}
{{- if lt 1 (len (compact (list (ternary "1" "" (hasKey $token "pinSecretRef")) (ternary "1" "" (hasKey $token "pinFile")) (ternary "1" "" (hasKey $token "pinFrom"))))) }}
{{- fail (printf "%s: give at most one of pinSecretRef, pinFile and pinFrom" $at) }}
{{- end }}
{{- with $token.pinFrom }}
{{- if eq (not .namespace) (not .clusterIssuers) }}
{{- fail (printf "%s: pinFrom takes namespace or clusterIssuers: true, one of them" $at) }}
{{- end }}
{{- if and .namespace (ne .namespace $.Release.Namespace) (not (has .namespace $.Values.secretNamespaces)) (not $.Values.secretsInAllNamespaces) }}
{{- fail (printf "%s: its PIN is in the namespace %s, which the controller may not read; add it to secretNamespaces" $at .namespace) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Values are kept in a Secret of the release, shown by `helm get values`, and often in git. */}}
{{- define "pkcs11-issuer.validateSecrecy" -}}
{{- $secret := "(?i)(^|[_-])(pin|password|passwd|passphrase|secret)([_-]?value)?$" }}
{{- range $name, $module := .Values.modules }}
{{- range $variable, $value := $module.env }}
{{- if regexMatch $secret $variable }}
{{- fail (printf "modules.%s.env.%s looks like a PIN; no PIN goes into values: use pinSecretRef or pinFile of the token" $name $variable) }}
{{- end }}
{{- end }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if and (hasKey . "value") (regexMatch $secret .name) }}
{{- fail (printf "extraEnv: %s looks like a PIN or password; no secret goes into values: use valueFrom.secretKeyRef" .name) }}
{{- end }}
{{- end }}
{{- if regexMatch "(?i)pin-value=" (toJson .Values) }}
{{- fail "a PKCS#11 URI with pin-value is in the values; no PIN goes into values: use pinSecretRef or pinFile of the token" }}
{{- end }}
{{- end }}

{{- define "pkcs11-issuer.validateRollout" -}}
{{- $budget := .Values.podDisruptionBudget }}
{{- $set := or (ne "" (toString $budget.minAvailable)) (ne "" (toString $budget.maxUnavailable)) }}
{{- if and (ne "" (toString $budget.minAvailable)) (ne "" (toString $budget.maxUnavailable)) }}
{{- fail "podDisruptionBudget: give minAvailable or maxUnavailable, not both" }}
{{- end }}
{{- if and $set (eq .Values.kind "DaemonSet") }}
{{- fail "podDisruptionBudget: the pods of a DaemonSet are never evicted, so it has none; remove minAvailable and maxUnavailable" }}
{{- end }}
{{- if and (kindIs "float64" $budget.minAvailable) (eq .Values.kind "Deployment") (ge (int $budget.minAvailable) (int .Values.replicas)) }}
{{- fail (printf "podDisruptionBudget: minAvailable %d of %d replicas lets no node be drained; make it smaller" (int $budget.minAvailable) (int .Values.replicas)) }}
{{- end }}
{{- end }}

{{- define "pkcs11-issuer.validateRights" -}}
{{- if and .Values.secretNamespaces .Values.secretsInAllNamespaces }}
{{- fail "secretsInAllNamespaces covers every namespace; remove secretNamespaces" }}
{{- end }}
{{- if has .Release.Namespace .Values.secretNamespaces }}
{{- fail (printf "secretNamespaces: the release namespace %s can always be read; remove it" .Release.Namespace) }}
{{- end }}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) .Values.rbac.create }}
{{- fail "serviceAccount: set name to the existing account; otherwise the rights would go to the namespace's account default" }}
{{- end }}
{{- end }}
