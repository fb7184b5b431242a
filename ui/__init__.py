"""The Gradio panel and its player."""
