// The browser's calendar beside a field for a day. The field stays a text: it takes times too, and is typed the same everywhere.

function open(event) {
  const button = event.target.closest?.("[data-day]");
  const field = button && document.getElementById(button.dataset.day);
  if (!field) return;
  const calendar = Object.assign(document.createElement("input"), { type: "date", tabIndex: -1, className: "calendar-of" });
  calendar.setAttribute("aria-hidden", "true");
  calendar.value = field.value.slice(0, 10);
  calendar.addEventListener("change", () => {
    field.value = calendar.value;
    field.focus();
  });
  button.parentElement.querySelector(".calendar-of")?.remove();
  button.after(calendar);
  calendar.showPicker();
}

document.addEventListener("click", open);
