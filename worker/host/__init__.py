"""A host as it is: its slots and GPUs, its addresses, its disk, and what its kernel ended for want of memory."""
