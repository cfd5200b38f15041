"""What twistd offers. Imported for every `twistd --help`, so it imports nothing of ours."""

from twisted.application.service import ServiceMaker

docsession = ServiceMaker(
    "docsession",
    "docsession.tap",
    "A live-session server for Google Drive.",
    "docsession",
)

docsession_sandbox = ServiceMaker(
    "docsession-sandbox",
    "docsession.sandbox.tap",
    "A stand-in for Google: OAuth, Drive, changes, comments and faults, on loopback.",
    "docsession-sandbox",
)
