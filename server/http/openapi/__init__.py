"""What the OpenAPI document says and the signatures of routes cannot."""
