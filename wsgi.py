"""What gunicorn and flask load: the application, set up from the environment."""

import sys

from leads_service import config, create_app, embedded

try:
    app = create_app()
except (config.SettingsError, embedded.EmbeddedError) as error:
    sys.exit(str(error))
