"""What the scripts of this room's pages say, in the reader's language. `{n}` is filled in by the script."""

from django.utils.translation import gettext as _


def of_nodes() -> dict[str, str]:
    return {
        "fan_out": _("Runs once for each item"),
        "retries": _("Retries"),
        "switched_off": _("Switched off"),
        "errors": _("{n} to correct"),
        "task_box": _("Task {title}, template {template}"),
        "arrow": _("{to} needs {from}"),
        "node_help": _("Enter opens it, arrow keys move it, Delete removes it."),
        "edge_help": _("Delete removes the arrow."),
        "controls": _("Zoom"),
        "zoom_in": _("Zoom in"),
        "zoom_out": _("Zoom out"),
        "fit": _("Show all"),
        "map": _("Small map"),
        "handle": _("Draw an arrow from here"),
        "close": _("Close"),
        "loading": _("Loading…"),
    }


def of_editor() -> dict[str, str]:
    return of_nodes() | _of_tools() | _of_panel() | _of_settings() | _of_saving() | _of_keys()


def _of_tools() -> dict[str, str]:
    return {
        "palette": _("Templates"),
        "find_template": _("Find a template"),
        "no_template": _("No template has these words."),
        "no_templates": _("No templates are enabled. A platform admin publishes them in the admin console."),
        "empty": _("Drag a template here, or choose one with Enter. Then draw an arrow from one task to the next."),
        "tools": _("Tools"),
        "undo": _("Undo"),
        "redo": _("Redo"),
        "duplicate": _("Duplicate"),
        "remove": _("Remove"),
        "layout": _("Lay out"),
        "keys": _("Keys"),
        "problems": _("{n} to correct"),
        "ring": _("These tasks would wait for each other: {ring}."),
    }


def _of_panel() -> dict[str, str]:
    return {
        "side": _("Details"),
        "tab_task": _("Task"),
        "tab_settings": _("Parameters"),
        "tab_yaml": _("YAML"),
        "none_chosen": _("Choose a task to set it up."),
        "many_chosen": _(
            "{n} tasks are chosen. Choose one to set it up; Delete, Ctrl C and Ctrl D act on all of them."
        ),
        "key": _("Key"),
        "bad_key": _("Use lower-case letters, digits and '_', a letter first, at most 40 characters."),
        "taken_key": _("There is a task '{key}' already."),
        "needs": _("Comes after"),
        "add_need": _("Add a task…"),
        "no_needs": _("Nothing: it starts at once. Add a task…"),
        "remove_need": _("No longer after {title}"),
        "yaml": _("The pipeline as YAML"),
        "yaml_unread": _("This text cannot be read as a pipeline, so the drawing still shows what it was before."),
        "yaml_file": _("Take in a file"),
        "yaml_discard": _("Go back to the drawing"),
    }


def _of_settings() -> dict[str, str]:
    return {
        "run_params": _("Parameters of a run"),
        "run_params_help": _("Whoever starts a run is asked for these. A task uses one as {{ params.name }}."),
        "add_param": _("Add a parameter"),
        "remove_param": _("Remove {name}"),
        "name": _("Name"),
        "type": _("Type"),
        "type_string": _("Text"),
        "type_integer": _("Whole number"),
        "type_number": _("Number"),
        "type_boolean": _("Yes or no"),
        "type_array": _("List"),
        "default": _("Default"),
        "label": _("Label"),
        "required": _("Required"),
        "limits": _("Limits of a run"),
        "parallelism": _("Tasks at a time"),
        "parallelism_help": _("32 when empty."),
        "timeout": _("Time limit (seconds)"),
        "timeout_help": _("A run that takes longer is stopped and fails. Empty: no limit."),
    }


def _of_saving() -> dict[str, str]:
    return {
        "save": _("Save"),
        "run": _("Run"),
        "version": _("version {n}"),
        "unsaved_new": _("not saved yet"),
        "changed": _("changed"),
        "save_version": _("Save version {n}"),
        "save_and_run": _("Save, then run"),
        "comment": _("Comment"),
        "comment_hint": _("What has changed?"),
        "cancel": _("Cancel"),
        "saved": _("Saved as version {n}."),
        "unchanged": _("Nothing has changed since version {n}."),
        "save_refused": _("Not saved: {why}"),
        "conflict": _("Somebody saved meanwhile"),
        "conflict_text": _("{who} saved version {n} since you began. {comment}"),
        "where": _("Field"),
        "theirs": _("Theirs"),
        "yours": _("Yours"),
        "no_changes": _("Both say the same; only places in the drawing differ."),
        "keep_editing": _("Keep editing"),
        "take_theirs": _("Take theirs"),
        "overwrite": _("Save mine as version {n}"),
    }


def _of_keys() -> dict[str, str]:
    return {
        "key_palette": _("find a template; Enter adds the first"),
        "key_tab": _("go through tasks and arrows"),
        "key_enter": _("choose the task, then open its panel"),
        "key_arrows": _("move what is chosen"),
        "key_delete": _("remove what is chosen"),
        "key_undo": _("undo, redo"),
        "key_copy": _("copy, cut, paste; also between pipelines"),
        "key_duplicate": _("duplicate"),
        "key_all": _("choose all"),
        "key_save": _("save"),
        "key_layout": _("lay out"),
        "key_fit": _("show all"),
        "key_zoom": _("zoom"),
        "key_map": _("small map"),
        "key_yaml": _("YAML"),
        "key_shift": _("with a click: choose several; with a drag: choose by a frame"),
        "key_escape": _("choose none"),
        "key_help": _("this list"),
    }


def of_run() -> dict[str, str]:
    return of_nodes() | {
        "items": _("{done} of {all}"),
        "items_failed": _("{n} failed"),
        "tries": _("try {n}"),
        "ignored": _("ignored"),
    }
