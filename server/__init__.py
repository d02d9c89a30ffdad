"""What HTTP means: routes that translate, features that answer, and the process that serves them."""
