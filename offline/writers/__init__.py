"""Profile writers: template, an OpenAI-compatible endpoint, or a small model on this machine."""
