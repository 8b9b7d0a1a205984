"""Small anywidget pieces, each a Python file beside its JavaScript."""
