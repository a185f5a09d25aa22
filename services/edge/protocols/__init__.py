"""The SDK surfaces: what the SDKs of other products send, translated into our own messages. Pure: no I/O, no clock."""
