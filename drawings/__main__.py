"""Write the drawings of all lessons, or of those named as section/lesson."""

import sys

from drawings import drawn, lessons, paths, pictures


def main():
    wanted = sys.argv[1:] or lessons()
    if unknown := sorted(set(wanted) - set(lessons())):
        sys.exit(f"no drawings of {', '.join(unknown)}; see {lessons()}")
    for lesson in wanted:
        for name, draw in pictures(lesson).items():
            for path, svg in zip(
                paths(lesson, name), drawn(draw), strict=True
            ):
                path.parent.mkdir(exist_ok=True)
                path.write_text(svg, "utf-8")
            print(f"docs/{lesson}/{name}.svg")


if __name__ == "__main__":
    main()
