"""Lints certificates with pkilint in one process: starting it costs a hundred times what a certificate does.

    pkilint ISSUER SUBJECT [ISSUER SUBJECT ...]

Runs pkilint's own lint_pkix_cert on each subject and its lint_pkix_signer_signee_cert_chain on each pair. Prints a line
of JSON for each finding of severity NOTICE or worse, [file, code], then how many subjects it has looked at.
"""

import contextlib
import io
import json
import sys

from pkilint.bin import lint_pkix_cert, lint_pkix_signer_signee_cert_chain

OPTIONS = ["lint", "-f", "JSON", "-s", "NOTICE"]


def findings(linter, files):
    """The codes that a linter finds in these files."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        linter.main(OPTIONS + files)
    try:
        report = json.loads(output.getvalue())
    except ValueError:
        sys.exit(f"pkilint could not read {files}")
    return {
        finding["code"]
        for result in report["results"]
        for finding in result["finding_descriptions"]
    }


def main(files):
    pairs = list(zip(files[0::2], files[1::2], strict=True))
    for issuer, subject in pairs:
        codes = findings(lint_pkix_cert, [subject])
        codes |= findings(lint_pkix_signer_signee_cert_chain, [issuer, subject])
        for code in sorted(codes):
            print(json.dumps([subject, code]))
    print(len(pairs))


if __name__ == "__main__":
    main(sys.argv[1:])
