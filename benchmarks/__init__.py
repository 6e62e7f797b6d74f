"""How fast the issuer is, beside how others do it: `make bench`."""
