module github.com/pkcs11-issuer/pkcs11-issuer/tests/tools/prometheus-operator

go 1.26.0

require github.com/prometheus-operator/prometheus-operator v0.85.0
