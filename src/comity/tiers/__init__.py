"""One module per verifier: builds what that verifier checks."""
