"""Every call to AWS's APIs; never IPython."""
