"""Long-running processes: each follows chains and does one duty; none imports another."""
