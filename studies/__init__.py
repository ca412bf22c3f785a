"""Studies that replay labelling on catalogues whose truth is known."""
