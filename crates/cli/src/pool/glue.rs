//! The node's agent as the server's window on tasks: neither knows the other.
