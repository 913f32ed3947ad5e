// What the theme leaves to be mended: landmarks without a name of their own,
// and wide tables that a keyboard can't scroll.

// A section with an index page has an empty label; its title has the name.
for (const nav of document.querySelectorAll(".md-nav[aria-labelledby]")) {
  const title = nav.querySelector(":scope > .md-nav__title");
  if (title) nav.setAttribute("aria-label", title.textContent.trim());
}

// Those without any name are lists, or the buttons of a code block, which
// appear later: no landmarks, for a page can have dozens of them.
const mend = () => {
  const named = ":not([aria-label], [aria-labelledby], [role])";
  for (const nav of document.querySelectorAll(`nav${named}`))
    nav.setAttribute("role", "none");
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap"))
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
};
new MutationObserver(mend).observe(document.body, {
  childList: true,
  subtree: true,
});
mend();
addEventListener("resize", mend);
