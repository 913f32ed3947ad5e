// The theme puts each code block's buttons into a landmark without a name.
// They are no landmarks: a page has dozens of them.
new MutationObserver(() => {
  for (const nav of document.querySelectorAll(".md-code__nav:not([role])"))
    nav.setAttribute("role", "none");
}).observe(document.body, { childList: true, subtree: true });
