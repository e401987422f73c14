"""The node's own plugin-host library, as a Go program, against plugins of ours."""
