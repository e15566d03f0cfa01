# Shorthands; each line is a command that works without make, too.
.PHONY: book test test-all execute clean

book:  ## render the stored notebooks to _build/html
	jupyter-book build .

test:  ## units and notebooks
	pytest --nbval

test-all:  ## those, and what takes long or needs a browser
	pytest --nbval
	pytest -m "browser or stranger or slow or gpu"

execute:  ## run every notebook again, in place
	python tools/execute.py

clean:  ## remove what was built
	rm -rf _build dist
