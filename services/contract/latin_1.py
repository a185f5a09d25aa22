"""What is no UTF-8 is most often Latin-1."""

# Bytes that are no UTF-8, as Python decodes them with `surrogateescape`, to the characters that they are in Latin-1.
LATIN_1 = {0xDC00 + byte: byte for byte in range(0x80, 0x100)}
