"""What we are compared with: an application for each, the packages it needs, and how it is started."""
