"""The whole system in throw-away containers, under the load of producers and readers, and the proof of what it did."""
