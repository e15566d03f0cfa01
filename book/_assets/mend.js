/* Small mends to the theme's markup that a style sheet cannot make. Runs once, before the page is shown. */
document.addEventListener("DOMContentLoaded", () => {
});
