"""From the bytes of a file, or an array, to the network's input."""
