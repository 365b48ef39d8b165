"""Every call to an AWS API."""
