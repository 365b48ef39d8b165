"""The data channel of AWS Session Manager: bytes and times in, bytes and times out."""
