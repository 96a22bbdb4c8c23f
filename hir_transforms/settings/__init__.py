"""Every setting: its flag, its checks, its place in the templates."""
