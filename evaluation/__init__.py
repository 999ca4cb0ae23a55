"""What a run earned, and what that is worth knowing: the tear sheet of one LEAN result.

It reads LEAN's own result files, so it works alike on runs of the real engine and of the embedded host.
"""
