# Shorthands; each line is a command that works without make, too.
.PHONY: book test execute clean

book:  ## render the stored notebooks to _build/html
	jupyter-book build .

test:  ## everything: units, notebooks, pages
	pytest --nbval

execute:  ## run every notebook again, in place
	python tools/execute.py

clean:  ## remove what was built
	rm -rf _build dist
