// What this script does is comfort: every page works without it.
"use strict";

// What was done is said once, and not again when the page is loaded again.
const here = new URL(location.href);
if (here.searchParams.has("done")) {
	here.searchParams.delete("done");
	history.replaceState(null, "", here);
}

// A button with data-copy copies the text of the element that it names, and says so
// in the <output> that follows it.
for (const button of document.querySelectorAll("button[data-copy]")) {
	button.hidden = false;
	button.addEventListener("click", async () => {
		const field = document.getElementById(button.dataset.copy);
		const said = button.nextElementSibling;
		try {
			await navigator.clipboard.writeText(field.value ?? field.textContent);
			said.textContent = "Copied.";
		} catch {
			// Without https there is no clipboard for pages.
			field.select?.();
			said.textContent = "Press Ctrl+C to copy.";
		}
	});
}

// The ID that stands for one to be made is replaced as a whole.
const id = document.getElementById("id");
for (const event of ["focus", "click"]) {
	id?.addEventListener(event, () => { if (id.value === "-1") id.select(); });
}

// A form with data-edited says in the element that it names that it has been edited.
for (const form of document.querySelectorAll("form[data-edited]")) {
	form.addEventListener("input", () => {
		const said = document.getElementById(form.dataset.edited);
		if (said.textContent === "") said.textContent = "unsaved changes";
	});
}
