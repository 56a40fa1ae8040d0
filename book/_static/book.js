// What the theme leaves out: names of the sidebar's folding arrows, and the keyboard's way into what scrolls.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("nav summary").forEach((arrow) => arrow.setAttribute("aria-label", "pages of this part"));
  document.querySelectorAll("table.table, .highlight pre, .output pre, .math-block").forEach((wide) => { wide.tabIndex = 0; });
});
