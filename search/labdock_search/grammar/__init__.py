"""The three grammars and their parsers."""
