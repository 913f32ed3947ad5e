"""Keeps out of the reference what a snippet defines only when it is run."""

import ast

from griffe import Extension


class Importable(Extension):
    """Leaves a module the names that an import of it would find."""

    def on_module_members(self, *, node, mod, agent, **kwargs):
        """Drop what is defined below `if __name__ == "__main__":`."""
        if not isinstance(node, ast.Module):
            return
        guards = [part for part in node.body if isinstance(part, ast.If)]
        for name, member in list(mod.members.items()):
            line = member.alias_lineno if member.is_alias else member.lineno
            if any(g.lineno <= (line or 0) <= g.end_lineno for g in guards):
                mod.del_member(name)
