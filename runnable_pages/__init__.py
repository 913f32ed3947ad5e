"""Pages whose code blocks are sections of tested files."""
