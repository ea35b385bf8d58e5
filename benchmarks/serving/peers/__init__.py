"""What people would serve the same bundle with instead: one folder each, in the environment that its lock describes.

requirements.in     what it needs, requirements.txt the lock of it
server.py           the server, as the documentation of what it is built on has it
"""
