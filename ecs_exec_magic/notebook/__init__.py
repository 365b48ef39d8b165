"""The notebook face: magics, display, completion."""
