"""Networks: a backbone with four stages tapped, the heads of each stage, and the encoder that joins them."""
