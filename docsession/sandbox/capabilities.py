"""What a role allows: Google's ``capabilities``, on which the refusals go by too."""

from __future__ import annotations

from docsession.sandbox.records import FOLDER, SHORTCUT, File
from docsession.sandbox.sharing import at_least

__all__ = ["drive_capabilities", "file_capabilities"]


def file_capabilities(file: File, role: str) -> dict[str, bool]:
    """What somebody with this role may do with this file."""
    in_drive, folder = bool(file.drive_id), file.mime_type == FOLDER
    is_root = not file.parent
    edit = at_least(role, "writer")
    # In a shared drive writers may neither trash nor move away: that takes a content manager.
    dispose = at_least(role, "fileOrganizer") if in_drive else role == "owner"
    destroy = at_least(role, "organizer") if in_drive else role == "owner"
    copy = bool(role) and not folder and (edit or not file.copy_requires_writer)
    share = edit and (in_drive or role == "owner" or file.writers_can_share)
    found = {
        "canAcceptOwnership": False,
        "canAddChildren": folder and edit,
        "canAddMyDriveParent": False,
        "canChangeCopyRequiresWriterPermission": edit,
        "canChangeSecurityUpdateEnabled": False,
        "canChangeViewersCanCopyContent": edit,
        "canComment": at_least(role, "commenter"),
        "canCopy": copy,
        "canDelete": destroy and not is_root,
        "canDownload": copy and file.mime_type != SHORTCUT,
        "canEdit": edit,
        "canListChildren": folder and bool(role),
        "canModifyContent": edit,
        "canModifyContentRestriction": edit,
        "canMoveChildrenWithinDrive": folder and edit,
        "canMoveItemOutOfDrive": dispose and not is_root,
        "canMoveItemWithinDrive": edit and not is_root,
        "canReadRevisions": edit and not folder,
        "canRemoveChildren": folder and edit and not in_drive,
        "canRemoveMyDriveParent": edit and not in_drive and not is_root,
        "canRename": edit and not is_root,
        "canShare": share and not (is_root and not in_drive),
        "canTrash": dispose and not is_root,
        "canUntrash": dispose and not is_root,
    }
    if in_drive:
        found |= {
            "canDeleteChildren": folder and destroy,
            "canMoveChildrenOutOfDrive": folder and dispose,
            "canReadDrive": True,
            "canTrashChildren": folder and dispose,
        }
    return found


def drive_capabilities(role: str) -> dict[str, bool]:
    """What somebody with this role may do with a shared drive."""
    organizer = at_least(role, "organizer")
    edit = at_least(role, "writer")
    return {
        "canAddChildren": edit,
        "canChangeCopyRequiresWriterPermissionRestriction": organizer,
        "canChangeDomainUsersOnlyRestriction": organizer,
        "canChangeDriveBackground": organizer,
        "canChangeDriveMembersOnlyRestriction": organizer,
        "canChangeSharingFoldersRequiresOrganizerPermissionRestriction": organizer,
        "canComment": at_least(role, "commenter"),
        "canCopy": bool(role),
        "canDeleteChildren": organizer,
        "canDeleteDrive": organizer,
        "canDownload": bool(role),
        "canEdit": edit,
        "canListChildren": bool(role),
        "canManageMembers": organizer,
        "canReadRevisions": edit,
        "canRename": edit,
        "canRenameDrive": organizer,
        "canResetDriveRestrictions": organizer,
        "canShare": edit,
        "canTrashChildren": at_least(role, "fileOrganizer"),
    }
