// The theme leaves the folding arrows of the sidebar without a name.
document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("nav summary").forEach((arrow) => arrow.setAttribute("aria-label", "pages of this part"));
});
