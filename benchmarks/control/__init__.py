"""How fast the control plane is, with little in its tables and with a lot."""
