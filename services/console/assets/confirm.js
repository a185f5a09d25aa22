// A button that destroys something asks first: `data-confirm`.

document.addEventListener("submit", (event) => {
  const asked = event.submitter?.dataset.confirm;
  if (asked && !confirm(asked)) event.preventDefault();
});
