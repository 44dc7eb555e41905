"""Lints certificates and CRLs with pkilint in one process: starting it costs a hundred times what a certificate does.

    pkilint [ISSUER SUBJECT | --crl CRL ...]

Runs pkilint's own lint_pkix_cert on each subject, its lint_pkix_signer_signee_cert_chain on each pair, and its lint_crl on
each CRL. Prints a line of JSON for each finding of severity NOTICE or worse, [file, code], then how many subjects and CRLs it
has looked at.
"""

import contextlib
import io
import json
import sys

from pkilint.bin import lint_crl, lint_pkix_cert, lint_pkix_signer_signee_cert_chain

OPTIONS = ["lint", "-f", "JSON", "-s", "NOTICE"]


def findings(linter, arguments):
    """The codes that a linter finds."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        linter.main(OPTIONS + arguments)
    try:
        report = json.loads(output.getvalue())
    except ValueError:
        sys.exit(f"pkilint could not read {arguments}")
    return {
        finding["code"]
        for result in report["results"]
        for finding in result["finding_descriptions"]
    }


def main(arguments):
    count = 0
    for first, subject in zip(arguments[0::2], arguments[1::2], strict=True):
        if first == "--crl":
            codes = findings(lint_crl, ["-t", "CRL", "-p", "PKIX", subject])
        else:
            codes = findings(lint_pkix_cert, [subject])
            codes |= findings(lint_pkix_signer_signee_cert_chain, [first, subject])
        for code in sorted(codes):
            print(json.dumps([subject, code]))
        count += 1
    print(count)


if __name__ == "__main__":
    main(sys.argv[1:])
